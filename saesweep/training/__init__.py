"""How a stack of autoencoders is trained."""
