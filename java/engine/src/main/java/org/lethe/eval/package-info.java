/** Evidence: familiarity by completion and by probability, perplexity, completions side by side. */
@NullMarked
package org.lethe.eval;

import org.jspecify.annotations.NullMarked;
