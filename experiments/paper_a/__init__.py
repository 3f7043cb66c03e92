"""The experiments of Carbone, Hua, Coste, Vanden-Eijnden 2023 (arXiv 2305.19414), run again."""
