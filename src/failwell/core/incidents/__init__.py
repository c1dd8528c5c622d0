"""From a signal to a case: what is noticed, what is set in motion, and what people make of it."""
