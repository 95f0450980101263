package main

// reloads never fires: the Windows service is restarted instead.
func reloads() (<-chan struct{}, func()) { return nil, func() {} }
