"""Operations: arrays in, arrays out. Forward and backward of one operation stand in one place; no Tensor in sight."""
