/**
 * The method of Eldan and Russinovich (arXiv 2310.02238): anchors, translation, generic labels, the
 * run directory.
 */
@NullMarked
package org.lethe.unlearn;

import org.jspecify.annotations.NullMarked;
