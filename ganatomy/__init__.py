"""Adversarial networks for medical images: what all suites share."""

import os

# TensorFlow reads it when it is imported. Without it the convolutions of processors that have
# AVX2 but not AVX-512 run at three fifths of their speed.
os.environ.setdefault("TF_ENABLE_ONEDNN_OPTS", "1")
