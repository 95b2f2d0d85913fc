"""Color: sRGB and CIE Lab, the 313 bins, profiles; once for torch and once for numpy."""
