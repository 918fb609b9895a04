"""ONNX files to graphs: reading, inference over symbolic sizes, clean-up, batching analysis.

`onnx` is imported when a model is read, never by importing this package.
"""

from __future__ import annotations
