"""What the two TensorRT backends share: the bindings, engines, the card, the session that is measured."""
