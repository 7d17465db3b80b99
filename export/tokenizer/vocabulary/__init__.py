"""Vocabulary of a checkpoint: pieces, types and scores, from byte-level BPE or SentencePiece."""
