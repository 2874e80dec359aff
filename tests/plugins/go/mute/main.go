// Command mute is what an original plugin's source becomes as a normal executable: everything in init, an empty main.
package main

func main() {}
