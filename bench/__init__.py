"""Speeds of Aerodrome beside the stock tools, measured in the same run on the same machine: ``make bench``."""
