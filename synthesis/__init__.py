"""Make one image from another: translation between modalities and conditional synthesis."""
