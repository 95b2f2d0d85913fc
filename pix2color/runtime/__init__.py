"""What runs the network: torch or onnxruntime behind one interface."""
