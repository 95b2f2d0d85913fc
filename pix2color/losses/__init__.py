"""Losses on ab, on logits of the discriminator, and on features."""
