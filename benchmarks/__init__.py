"""Speed of this project beside what a user would pick instead, one file a question."""
