"""The method: pure functions and nn.Modules, numpy and torch in, numpy and torch out."""
