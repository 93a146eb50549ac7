/**
 * Training: exact fp32 AdamW, schedule, gradient accumulation, checkpoints that resume to the same
 * bits.
 */
@NullMarked
package org.lethe.train;

import org.jspecify.annotations.NullMarked;
