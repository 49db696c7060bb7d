"""What models/train.py is made of: reading rows, measuring scores, writing the model card."""
