"""Align scans: resampling, transforms in mm, and networks that find them."""
