/**
 * Model files: safetensors, GGUF, Hugging Face configurations. Read by mapping and checked before
 * use; written aside, synced and renamed.
 */
@NullMarked
package org.lethe.format;

import org.jspecify.annotations.NullMarked;
