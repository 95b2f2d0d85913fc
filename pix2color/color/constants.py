"""Constants of sRGB and CIE Lab, for torch and numpy alike.

Those of Lab are scikit-image's: sRGB primaries, D65, 2 degrees. Formulas: IEC 61966-2-1
(companding) and CIE 15 (Lab).
"""

RGB_TO_XYZ = (
    (0.412453, 0.357580, 0.180423),
    (0.212671, 0.715160, 0.072169),
    (0.019334, 0.119193, 0.950227),
)
"""Linear sRGB -> XYZ under D65."""
XYZ_TO_RGB = (
    (3.24048134, -1.53715152, -0.49853633),
    (-0.96925495, 1.87599, 0.04155593),
    (0.05564664, -0.20404134, 1.05731107),
)
WHITE = (0.95047, 1.0, 1.08883)
"""XYZ of D65."""
GAMMA = 2.4
GAMMA_OFFSET = 0.055
GAMMA_SLOPE = 12.92
GAMMA_KNEE = 0.04045
"""Code value below which sRGB is linear."""
LINEAR_KNEE = 0.0031308
"""Linear light there."""
LAB_KNEE = 0.008856
"""Of CIE's f, in units of Y."""
LAB_KNEE_F = 0.2068966
"""f there."""
LAB_SLOPE = 7.787
LAB_OFFSET = 16.0 / 116.0
"""f = LAB_SLOPE * Y + LAB_OFFSET below the knee."""
EPSILON = 1e-9
"""Linear light: a difference from gray that needs no gamut mapping."""
AB_RANGE = 110.0
"""Lab units that count as 1, in losses on ab and in the network's input of hints: sRGB's reach."""
