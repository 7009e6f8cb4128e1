"""What is trained: a network, its examples, its loss and how it is scored, one file each."""
