"""What a user can say about the colors: hints, palettes, variants."""
