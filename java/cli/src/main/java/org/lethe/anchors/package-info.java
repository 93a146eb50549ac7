/** A dictionary of anchored expressions, drafted from a text for a person to edit. */
@NullMarked
package org.lethe.anchors;

import org.jspecify.annotations.NullMarked;
