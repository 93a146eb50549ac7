/**
 * Devices, tensors and kernels: the only package that crosses into native code.
 *
 * <p>A {@link org.lethe.kernels.Device} is an object, several can be open; it owns its {@link
 * org.lethe.kernels.Tensor}s and frees what is left when it closes. {@link
 * org.lethe.kernels.Kernels} has one method an operation of {@code native/include/lethe.h}, each
 * checked against the shapes of its tensors before it calls. A failure below arrives as a {@link
 * org.lethe.kernels.DeviceException} that names the operation and its shapes.
 *
 * <p>Nothing here is static state, and nothing starts a thread. A device and its tensors belong to
 * one thread at a time.
 */
@NullMarked
package org.lethe.kernels;

import org.jspecify.annotations.NullMarked;
