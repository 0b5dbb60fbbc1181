"""The same networks without Keras: what a user of a framework would write instead."""
