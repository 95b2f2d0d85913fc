"""Networks: encoders, U-Net decoder, heads, the generator and the PatchGAN discriminator."""
