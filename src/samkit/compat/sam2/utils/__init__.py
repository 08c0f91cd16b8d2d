"""Helpers of predictors and mask generators."""
