"""A text encoder on Pelton's engine against ONNX Runtime, both in fp32 on the same threads."""
