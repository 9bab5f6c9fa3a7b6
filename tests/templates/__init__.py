"""Do real tools and real histories get an answer with every chat template of llama.cpp?"""
