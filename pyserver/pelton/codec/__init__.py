"""The wire formats in plain Python: bytes in, requests out; answers in, bytes out.

Everything here is sans-IO and pure. It serves the slow path and is the oracle for the native
codecs.
"""
