"""`lakeferry correct`: rows of a published batch set aside."""
