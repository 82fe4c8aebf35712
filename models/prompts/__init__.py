"""Prompt parsing: from words to entities, what is said of each, and how they are laid out.

    weighting: the text without marks
    words, tokens: its words and phrases, looked up in the table of words
    scene: the things that they name, what is said of each, and how they stand to each other
    layout: what is drawn alone, and where
    parser, parsed: `PromptParser.parse(prompt) -> ParsedPrompt`, which everything below takes
    completion: the word that a prompt ends with, completed
    still: a prompt without its words of motion

Words are data: closed classes (colours, numbers, relations) in `assets/lexicon/`, a file a language
(`models.lexicon`); all others in the table that `python -m models.train.vocabulary` builds.
"""
