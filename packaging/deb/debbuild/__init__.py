"""Makes the Debian package, without debhelper: nothing is compiled, and a build needs no more than pip and dpkg-deb.

`python -m debbuild SUITE ARCH`, or `./dev deb`; docs/packaging.md tells what is in it and why.
"""
