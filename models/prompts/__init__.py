"""Prompt parsing: from words to entities, what is said of each, and how they are laid out.

    weighting, normalise: the text in other words for the same, and in one order
    attributes, entities: which concepts it names, and number, colour, expression of each
    rephrase: the same in the words of captions
    composites, relations, boxes, layout: what is drawn alone, and where
    parser, parsed: `PromptParser.parse(prompt) -> ParsedPrompt`, which everything below takes
    reader: what becomes of each word, and what can be drawn instead
    completion: the word that a prompt ends with, completed

The words are data: `assets/lexicon/`, a file a language (`models.lexicon`).
"""
