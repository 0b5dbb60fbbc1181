"""The child: one job in a fresh process, the only place where Keras is imported."""
