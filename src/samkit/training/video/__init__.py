"""Training of SAM 2 on clips: image encoder, decoder and memory."""
