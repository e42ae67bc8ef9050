"""One file a task: the inputs that a row of data becomes, the answers in a model's outputs, and the metrics."""
