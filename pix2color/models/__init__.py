"""Networks: encoders, decoders, heads, the generator and the PatchGAN discriminator."""
