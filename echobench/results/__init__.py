"""Records, the folder that keeps them, and the tables made of them."""
