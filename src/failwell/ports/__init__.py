"""What the upper floors need from the outside, as Protocols and frozen values."""
