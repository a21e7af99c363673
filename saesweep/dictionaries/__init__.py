"""What is learned: sparse autoencoders, alone and stacked, and the dictionaries to compare with."""
