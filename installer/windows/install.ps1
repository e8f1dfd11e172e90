# Installs the agent from the folder of this script, over an older one of ours
# or where there is none. Exit codes: 0 done, 1 not, and why.
#
#   install.ps1 [-Register -Code CODE -Id ID -Region REGION] [-Disabled] [-TakeOver]
#
# -Disabled leaves the service disabled and stopped, as images want it.
# -TakeOver takes the service over that the stock agent has left here.
[CmdletBinding()]
param(
    [switch]$Register,
    [string]$Code,
    [string]$Id,
    [string]$Region,
    [switch]$Disabled,
    [switch]$TakeOver
)
Set-StrictMode -Version 2
$ErrorActionPreference = 'Stop'

$service = 'AmazonSSMAgent'
$program = 'amazon-ssm-agent.exe'
$folder = Join-Path $env:ProgramFiles 'Amazon\SSM'
$ours = 'HKLM:\SOFTWARE\ssmagent'

function Assert-Here {
    $me = New-Object Security.Principal.WindowsPrincipal([Security.Principal.WindowsIdentity]::GetCurrent())
    if (-not $me.IsInRole([Security.Principal.WindowsBuiltInRole]::Administrator)) {
        throw 'administrator rights are needed: start PowerShell as administrator'
    }
    if ([Environment]::OSVersion.Version.Major -lt 10) {
        throw 'ssmagent needs Windows 10, Windows Server 2016 or a later one'
    }
    if ($Register -and -not ($Code -and $Id -and $Region)) {
        throw '-Register needs -Code, -Id and -Region'
    }
    $installed = Get-ItemProperty -Path $ours -ErrorAction SilentlyContinue
    if ($installed -and $installed.Installer -eq 'msi') {
        throw 'an MSI has installed ssmagent here: install the new MSI over it, or uninstall it first (Settings, Apps)'
    }
    if (-not $installed -and -not $TakeOver -and (Get-Service $service -ErrorAction SilentlyContinue)) {
        throw 'the stock Amazon SSM Agent is installed here, and ssmagent takes its service and its folder: uninstall it first; its registration and configuration stay and are taken over. If only its service is left, add -TakeOver'
    }
}

# Invoke-Agent runs the installed program; Windows PowerShell takes no exit code for an error.
function Invoke-Agent {
    & (Join-Path $folder $program) @args
    if ($LASTEXITCODE -ne 0) {
        throw "$program $($args -join ' '): exit code $LASTEXITCODE"
    }
}

# Copy-Files changes the files; whose copy fails keeps what was there, as each is
# complete before it has its name.
function Copy-Files {
    New-Item -ItemType Directory -Force -Path $folder | Out-Null
    $files = @{ $program = $program; 'ssm-cli.exe' = $program; 'ssm-local.exe' = $program }
    foreach ($name in 'amazon-ssm-agent.json.template', 'LICENSE', 'NOTICE.md', 'uninstall.ps1', 'uninstall.bat') {
        $files[$name] = $name
    }
    foreach ($name in $files.Keys) {
        Copy-Item -Force (Join-Path $PSScriptRoot $files[$name]) (Join-Path $folder "$name.new")
    }
    foreach ($name in $files.Keys) {
        Move-Item -Force (Join-Path $folder "$name.new") (Join-Path $folder $name)
    }
}

$running = $false
try {
    Assert-Here
    $was = Get-Service $service -ErrorAction SilentlyContinue
    if ($was) {
        $running = $was.Status -eq 'Running'
        Stop-Service $service
    }
    Copy-Files
    $version = (Get-Item (Join-Path $folder $program)).VersionInfo.ProductVersion
    if ($was) {
        Invoke-Agent service configure
    } else {
        Invoke-Agent service install
    }
    New-Item -Force -Path $ours | Out-Null
    Set-ItemProperty -Path $ours -Name Version -Value $version
    Set-ItemProperty -Path $ours -Name Installer -Value 'script'
    if ($Register) {
        # By standard input: command lines are for everybody to read.
        $Code | & (Join-Path $folder $program) -register -y -code-file - -id $Id -region $Region
        if ($LASTEXITCODE -ne 0) {
            throw 'the agent is installed, but the machine not registered (see above): once the reason is gone, run amazon-ssm-agent -register and restart the service'
        }
    }
    if ($Disabled) {
        Set-Service $service -StartupType Disabled
    } else {
        Start-Service $service
    }
    exit 0
} catch {
    [Console]::Error.WriteLine("install.ps1: $($_.Exception.Message)")
    if ($running) {
        Start-Service $service -ErrorAction SilentlyContinue
    }
    exit 1
}
