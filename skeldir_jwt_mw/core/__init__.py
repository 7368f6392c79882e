"""The pure core: no clock, thread, event loop, socket, driver, framework or logger; time is an argument."""
