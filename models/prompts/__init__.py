"""Prompt parsing: from words to entities, what is said of each, and how they are laid out.

    weighting, normalise: the text without marks, in one order and in known words
    linker: the concepts that it names, and the captions that say the same
    layout: what is drawn alone, and where
    parser, parsed: `PromptParser.parse(prompt) -> ParsedPrompt`, which everything below takes
    vocabulary, reader: which words are known, drawn or left out
    completion: the word that a prompt ends with, completed

The words are data: `assets/lexicon/`, a file a language (`models.lexicon`).
"""
