"""Networks: encoders, decoders, heads, the generator and the discriminators."""
