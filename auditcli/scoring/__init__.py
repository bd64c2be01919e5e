"""The judge: SSIM and matching, calibration against controls, the verdict. Pure functions, no files, no attacks."""
