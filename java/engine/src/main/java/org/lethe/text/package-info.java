/**
 * Tokenizers and text: Hugging Face tokenizers through DJL, GGUF vocabularies turned into them,
 * text cut into blocks.
 */
@NullMarked
package org.lethe.text;

import org.jspecify.annotations.NullMarked;
