"""The measured claims. Ratios are taken side by side in one run; absolute figures depend on the machine."""
