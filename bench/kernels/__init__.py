"""Every variant of every kernel of `kernels/lists` on the shapes of MiniLM, one thread."""
