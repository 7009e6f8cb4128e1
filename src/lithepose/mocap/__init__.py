"""Motion capture: originals, motion files, and the training windows drawn from them."""
