"""Losses: on ab and its classes, on the discriminator's logits, and on feature maps.

This package does not import pix2color.models: heads use its losses, and pix2color.build gives the
perceptual loss its network.
"""
